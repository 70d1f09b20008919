"""How times are written for people."""


def clock(seconds: float) -> str:
    """Seconds as `45 s`, `3 min 20 s`, `5 h 10 min` or `12 days`."""
    whole = round(seconds)
    minutes = round(seconds / 60)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes / 1440:,.0f} days"
