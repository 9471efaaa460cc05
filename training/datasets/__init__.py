"""The data sets that training and evaluation read: one file each.

A data set is named by where it lies, and recognised by what lies there; where that is ambiguous, or a test
set of another size is wanted, its name comes first: `data/veri`, `veri:data/veri`,
`vehicleid-2400:data/VehicleID`.
"""

from training.datasets.layout import (
    Layout,
    Split,
    UnknownDataSetError,
    dataset_name,
    list_layouts,
    read_classes,
    read_split,
    read_training,
    read_training_parts,
    vehicles_aside,
)

__all__ = [
    "Layout",
    "Split",
    "UnknownDataSetError",
    "dataset_name",
    "list_layouts",
    "read_classes",
    "read_split",
    "read_training",
    "read_training_parts",
    "vehicles_aside",
]
