"""The NCSN++ U-Net."""
