"""The ADM U-Net."""
