"""Conventions of a variational bound's last term, the cost of 8-bit pixels. Imports no torch."""

from typing import Literal

DecoderName = Literal["walk", "chain"]
"""Variance of the step to x0, whose own beta_tilde is 0.

walk: that of each walk's own steps, whatever its covariance: beta_tilde of the step before the last stands
for beta_tilde, beta and a known Cov[x0 | x], and is the lower end of a learned range [P1 code]. chain:
beta_tilde of the chain's two least noisy timesteps for every covariance and every walk [P6 code,
Analytic-DPM's].
"""

NormalCdfName = Literal["exact", "tanh"]
"""Normal distribution function of which a grey level's bin is a difference.

exact: to float rounding. tanh: (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2, probabilities below 1e-12
counted as 1e-12 [P1 code; P6 code]. They agree to 2e-4 in the distribution function, but its slope, which
narrow bins see, is 4 % too low at 3 standard deviations and a third too low at 4: half a bit.
"""
