"""Numbers as people read them."""


def as_bytes(count: int) -> str:
    """Like 6.8 MB or 1.24 GB; powers of ten, as disks and system monitors count."""
    if count < 1_000_000:
        return f"{count / 1e3:.0f} KB"
    if count < 1_000_000_000:
        return f"{count / 1e6:.1f} MB" if count < 100_000_000 else f"{count / 1e6:.0f} MB"
    return f"{count / 1e9:.2f} GB" if count < 10_000_000_000 else f"{count / 1e9:.1f} GB"


def as_duration(seconds: float) -> str:
    """Like 0.05 s, 12 s, 4:05 min or 31 h."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds >= 7_200:
        return f"{seconds / 3_600:,.0f} h"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def as_rate(tokens_per_s: float) -> str:
    """Like 92 tok/s or 4.1 tok/s."""
    if tokens_per_s < 0.1:
        return "under 0.1 tok/s"
    return f"{tokens_per_s:,.0f} tok/s" if tokens_per_s >= 10 else f"{tokens_per_s:.1f} tok/s"


def as_round_tokens(count: int) -> str:
    """Like 4.2 million or 850,000, for a number that is an estimate anyway."""
    if count >= 1_000_000:
        return f"{count / 1e6:.1f} million"
    return f"{count // 1_000 * 1_000:,}" if count >= 10_000 else f"{count:,}"
