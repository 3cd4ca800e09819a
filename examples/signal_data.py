"""Makes the data of `signal.toml`: sines, squares and sawtooths of random pitch and phase, in noise.

    python signal_data.py [FILE.npz]

A file for `[data] name = "signal"` holds `signals` [n, length, channels] and `labels` [n], and optionally the same with
the prefix `validation_` or `test_`.
"""

import sys

import numpy as np
from scipy.signal import sawtooth, square

WAVES = {"sine": np.sin, "square": square, "sawtooth": sawtooth}
COUNT, LENGTH = 900, 128

if __name__ == "__main__":
    generator = np.random.default_rng(0)
    labels = generator.choice(list(WAVES), COUNT)
    pitch, phase = generator.uniform(3, 9, (COUNT, 1)), generator.uniform(0, 6, (COUNT, 1))
    angles = phase + pitch * np.linspace(0, 2 * np.pi, LENGTH)
    waves = np.stack([WAVES[label](row) for label, row in zip(labels, angles, strict=True)])
    signals = (waves + generator.normal(0, 0.5, waves.shape)).astype(np.float32)[..., None]
    np.savez(sys.argv[1] if len(sys.argv) > 1 else "waves.npz", signals=signals, labels=labels)
