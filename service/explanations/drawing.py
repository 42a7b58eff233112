"""Pieces of a picture as SVG: what is written here needs no library, and opens in any browser.

Next: :mod:`service.explanations.pictures`.
"""

from __future__ import annotations

from html import escape

BAR = 18  # pixels
UP, DOWN, INK, FAINT = "#c2410c", "#1d4ed8", "#1f2937", "#9ca3af"


def text(
    x: float,
    y: float,
    content: str,
    color: str = INK,
    *,
    size: int = 13,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    """Write a line of text, with a white rim where it crosses a line."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" font-size="{size}" stroke="#ffffff" '
        f'stroke-width="3" paint-order="stroke" '
        f'font-weight="{weight}" text-anchor="{anchor}">{escape(content)}</text>'
    )


def bar(x: float, y: float, width: float, color: str) -> str:
    """Draw a bar."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" '
        f'height="{BAR}" rx="2" fill="{color}"/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, color: str, *, dashes: str = "3 3") -> str:
    """Draw a thin line, dashed unless `dashes` is "none"."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{color}" stroke-dasharray="{dashes}"/>'
    )


def framed(parts: list[str], width: float, height: float) -> str:
    """Put the parts on a white card, which is legible on a dark page too."""
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="system-ui, sans-serif">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>\n{inside}\n</svg>\n'
    )
