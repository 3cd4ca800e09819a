"""Training recipes of papers, as values for `[training]`. Does not import torch.

Values that a recipe does not state keep their defaults. Weight decay is PyTorch's; if the source adds
`rate * sum(w ** 2)` to the loss (ENAS), our weight decay
is twice that rate. Two differences from the sources remain: weight decay
acts only on the weights of convolutions and linear layers, while DARTS, NDS and NAS-Bench-201 also decay batch norms
and biases; and drop path grows from step to step, while in DARTS it grows from epoch to epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A training recipe."""

    source: str
    """Paper, section or code that states the values."""
    settings: Mapping[str, Any]
    """Fields of `TrainingSettings`."""


_TF_SLIM: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 0.025,
    "schedule": "cosine",
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 5e-4,
    "gradient_clip": 5.0,
    "crop_padding": 4,
    "flip": True,
}
"""TF-slim `nasnet.py`, notes above `cifar_config` (batch size, learning rate, one cosine, clipping) and
`nasnet_cifar_arg_scope` (weight decay); crops and flips: Zoph et al. 2018, section 4.1."""

NASNET_SEARCH = Preset(
    "Zoph et al. 2018: 20 epochs a candidate (with N=2, F=32); otherwise TF-slim cifar_config",
    {**_TF_SLIM, "epochs": 20},
)
"""`epochs`: the paper, for the search; the rest: `_TF_SLIM`, without the settings that only a long training needs."""

NASNET_CIFAR = Preset(
    "Zoph et al. 2018, section 4.1; TF-slim cifar_config",
    {
        **_TF_SLIM,
        "epochs": 600,
        "drop_path_probability": 0.4,
        "auxiliary_weight": 0.4,
        "cutout": 16,
    },
)
"""`epochs`, `drop_path_probability` (1 - `drop_path_keep_prob`, growing with depth and step), `auxiliary_weight`:
TF-slim `cifar_config`; `cutout`: Zoph et al. 2018, table 1."""

AMOEBANET_SEARCH = Preset(
    "Real et al. 2019: 25 epochs a candidate (with N=3, F=24); otherwise as NASNet's",
    {**_TF_SLIM, "epochs": 25},
)
"""`epochs`: the paper, section Search; the rest: NASNet's, whose training code the paper uses. Use `nasnet-cifar` for
its final training."""

PNAS_SEARCH = Preset(
    "Liu et al. 2018, section 5.1: 20 epochs a candidate (with N=2, F=24), learning rate 0.01; otherwise as NASNet's",
    {**_TF_SLIM, "epochs": 20, "learning_rate": 0.01},
)
"""`epochs`, `learning_rate` with one cosine: the paper; the rest: NASNet's. Use `nasnet-cifar` for its final
training."""

ENAS = Preset(
    "Pham et al. 2018; melodyguan/enas cifar10_micro_final.sh",
    {
        "epochs": 630,
        "batch_size": 144,
        "learning_rate": 0.05,
        "learning_rate_end": 1e-4,
        "schedule": "cosine",
        "restart_epochs": 10,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 4e-4,
        "gradient_clip": 0.0,
        "drop_path_probability": 0.4,
        "dropout": 0.2,
        "auxiliary_weight": 0.4,
        "crop_padding": 4,
        "flip": True,
        "cutout": 16,
    },
)
"""`--num_epochs`, `--batch_size`, `--child_lr_max`, `--child_lr_min`, `--child_lr_T_0` (and `T_mul` 2: cycles of 10,
20, 40, 80, 160 and 320 epochs), twice `--child_l2_reg`, 1 - `--child_drop_path_keep_prob`, 1 - `--child_keep_prob`,
`--child_use_aux_heads`, `--child_cutout_size` of the script; Nesterov momentum, auxiliary weight and augmentation of
the code. The code is meant to clip each gradient (`src/utils.py`, `clip_mode="norm"`), but leaves gradients unchanged,
so `gradient_clip` is 0."""

DARTS = Preset(
    "Liu et al. 2019, appendix A.2; quark0/darts cnn/train.py",
    {
        "epochs": 600,
        "batch_size": 96,
        "learning_rate": 0.025,
        "schedule": "cosine",
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 3e-4,
        "gradient_clip": 5.0,
        "drop_path_probability": 0.2,
        "auxiliary_weight": 0.4,
        "crop_padding": 4,
        "flip": True,
        "cutout": 16,
    },
)
"""Defaults of `train.py`, with `--cutout --auxiliary` as in the paper's command."""

NDS = Preset(
    "Radosavovic et al. 2019, On Network Design Spaces, CIFAR-10",
    {
        "epochs": 100,
        "batch_size": 128,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "gradient_clip": 0.0,
        "crop_padding": 4,
        "flip": True,
    },
)
"""From the configurations of the paper's code (facebookresearch/unnas)."""

NAS_BENCH_201 = Preset(
    "Dong and Yang 2020, table 1",
    {
        "epochs": 200,
        "batch_size": 256,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "gradient_clip": 0.0,
        "crop_padding": 4,
        "flip": True,
    },
)
"""The training strategy of the table."""

PRESETS: dict[str, Preset] = {
    "nasnet-search": NASNET_SEARCH,
    "nasnet-cifar": NASNET_CIFAR,
    "amoebanet-search": AMOEBANET_SEARCH,
    "pnas-search": PNAS_SEARCH,
    "enas": ENAS,
    "darts": DARTS,
    "nds": NDS,
    "nas-bench-201": NAS_BENCH_201,
}
"""Recipes that a search file may name."""
