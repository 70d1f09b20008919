"""How images are noised, x_t = a x0 + b eps: schedules, targets, preconditioning, weighting, noise levels."""
