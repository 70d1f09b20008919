"""The DDPM++ U-Net."""
