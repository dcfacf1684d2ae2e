"""A DICOM node that tells real from fake radiographs and CT images."""

__version__ = "0.1.0"
