"""Trains NASNet-A from its published cells in plain PyTorch: python examples/train_nasnet.py [--data cifar10]"""

import argparse
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import datasets, transforms

from cellscout import NASNET_A, CellNetwork, NetworkSpec


def training_set(name: str, root: str) -> tuple[Dataset[Any], int, int]:
    """Return the images with their labels, their number of channels, and their height and width."""
    if name == "cifar10":
        return datasets.CIFAR10(root, download=True, transform=transforms.ToTensor()), 3, 32
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    return TensorDataset(images, torch.tensor(digits.target)), 1, 8


def main() -> None:
    """Train with SGD, ten epochs by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["digits", "cifar10"], default="digits")
    parser.add_argument("--root", default="data", help="folder of CIFAR-10, which is downloaded if it is missing")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data, channels, size = training_set(arguments.data, arguments.root)
    spec = NetworkSpec(
        architecture=NASNET_A, repeats=1, filters=8, classes=10, image_channels=channels, image_size=(size, size)
    )
    network = CellNetwork(spec).to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(data, batch_size=32, shuffle=True)
    for epoch in range(1, arguments.epochs + 1):
        loss_sum, hits, count = 0.0, 0, 0
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            logits = network(images)
            loss = cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            hits += int((logits.argmax(dim=1) == labels).sum())
            count += len(labels)
        print(f"epoch {epoch:2}  loss {loss_sum / count:.4f}  accuracy {hits / count:.4f}")


if __name__ == "__main__":
    main()
