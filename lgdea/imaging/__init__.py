"""Pixels: reading (PNG, JPEG, DICOM), invertible geometry, augmentation, the memory-mapped cache."""
