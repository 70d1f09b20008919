"""The iDDPM U-Net."""
