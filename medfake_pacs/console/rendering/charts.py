"""Plots as SVG made by the server: a title and description for those who don't see them, shapes besides colours.

Colours are classes of ``static/charts.css``, so that they follow the theme. Nothing in a plot is inline style.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 12, 28
_BAR_STEP, _BAR_THICKNESS = 28, 16
_NARROW, _LABEL_WIDTH, _VALUE_WIDTH = 360, 130, 60
_LABEL_LENGTH = 20
_TICKS = 4
_LABELS_ACROSS = 8
# The shape that fills a colour, so that two of them differ without it: drawn over the colour, 8 by 8 px.
_SHAPES = {
    "plain": "",
    "stripes": '<path d="M-2 2 2-2M0 8 8 0M6 10 10 6" class="plot-mark"/>',
    "dots": '<circle cx="2" cy="2" r="1.3" class="plot-dot"/><circle cx="6" cy="6" r="1.3" class="plot-dot"/>',
    "lines": '<path d="M0 2h8M0 6h8" class="plot-mark"/>',
    "grid": '<path d="M0 4h8M4 0v8" class="plot-mark"/>',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values of one kind, one for each place along the axis. ``colour`` ends a class, ``shape`` is of ``_SHAPES``."""

    label: str
    colour: str
    shape: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar with its name and value beside it."""

    label: str
    value: float
    colour: str = "1"
    shape: str = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a plot is: ``name`` makes its ids unique on the page, ``description`` says in words what it shows."""

    name: str
    title: str
    description: str


def stacked_bars(about: About, places: Sequence[str], series: Sequence[Series]) -> Markup:
    """Return a bar for each place, made of a piece for each series; the scale starts at zero."""
    totals = [sum(each.values[at] for each in series) for at in range(len(places))]
    top = ticks(max(totals, default=0))[-1]
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(places))
    gap = min(4.0, step * 0.2)
    parts = [*_patterns(about.name, [(each.colour, each.shape) for each in series]), *_scale(top)]
    for at, place in enumerate(places):
        base = 0.0
        for each in series:
            value = each.values[at]
            if value:
                low, high = _y(base, top), _y(base + value, top)
                box = (_LEFT + at * step + gap / 2, high, step - gap, low - high)
                parts.append(_rectangle(about.name, each.colour, each.shape, box, f"{place}: {each.label} {value:g}"))
            base += value
    parts += _places(places, step)
    return _svg(about, _HEIGHT, parts)


def bars(about: About, items: Sequence[Bar]) -> Markup:
    """Return a horizontal bar for each item, with its name before and its value behind it."""
    height = _BAR_STEP * max(1, len(items)) + 8
    longest = max((item.value for item in items), default=0) or 1
    room = _NARROW - _LABEL_WIDTH - _VALUE_WIDTH
    parts = list(_patterns(about.name, [(item.colour, item.shape) for item in items]))
    for at, item in enumerate(items):
        y = 4 + at * _BAR_STEP + (_BAR_STEP - _BAR_THICKNESS) / 2
        width = max(1.0, room * item.value / longest) if item.value else 0.0
        label = item.label if len(item.label) <= _LABEL_LENGTH else f"{item.label[: _LABEL_LENGTH - 1]}…"
        middle = y + _BAR_THICKNESS / 2 + 4
        parts.append(_text(_LABEL_WIDTH - 8, middle, label, "end"))
        if width:
            box = (_LABEL_WIDTH, y, width, _BAR_THICKNESS)
            parts.append(_rectangle(about.name, item.colour, item.shape, box, f"{item.label} {item.value:g}"))
        parts.append(_text(_LABEL_WIDTH + width + 8, middle, f"{item.value:,g}", "start"))
    return _svg(about, height, parts, width=_NARROW, kind="chart chart-narrow")


def histograms(about: About, edges: Sequence[float], filled: Series, outline: Series) -> Markup:
    """Return two histograms over the same bins: one as bars, the other as a line of steps over them."""
    top = ticks(max([*filled.values, *outline.values], default=0))[-1]
    first, last = edges[0], edges[-1]
    span = (last - first) or 1.0

    def x(value: float) -> float:
        return _LEFT + (value - first) / span * (_WIDTH - _LEFT - _RIGHT)

    parts = [*_patterns(about.name, [(filled.colour, filled.shape)]), *_scale(top, "{:.0%}")]
    for at, value in enumerate(filled.values):
        if value:
            left, right = x(edges[at]), x(edges[at + 1])
            place = f"{filled.label}, {edges[at]:.2f} to {edges[at + 1]:.2f}: {value:.1%}"
            box = (left, _y(value, top), right - left, _y(0, top) - _y(value, top))
            parts.append(_rectangle(about.name, filled.colour, filled.shape, box, place))
    line = f"M{x(first):.1f} {_y(0, top):.1f}"
    for at, value in enumerate(outline.values):
        line += f"V{_y(value, top):.1f}H{x(edges[at + 1]):.1f}"
    parts.append(f'<path d="{line}V{_y(0, top):.1f}" class="plot-line plot-line-{escape(outline.colour)}"/>')
    for value in nice(first, last):
        parts.append(_text(x(value), _HEIGHT - 8, f"{value:g}", "middle"))
    return _svg(about, _HEIGHT, parts)


def key(about: About, series: Sequence[Series], *, line: Series | None = None) -> Markup:
    """Return what each colour and shape stands for, in words beside it; hidden from those who hear the plot's table."""
    parts = list(_patterns(f"{about.name}-key", [(each.colour, each.shape) for each in series]))
    x = 2.0
    for each in series:
        parts.append(_rectangle(f"{about.name}-key", each.colour, each.shape, (x, 4, 16, 12), ""))
        parts.append(_text(x + 22, 14, each.label, "start"))
        x += 40 + 7.5 * len(each.label)
    if line is not None:
        parts.append(f'<path d="M{x:.1f} 10h16" class="plot-line plot-line-{escape(line.colour)}"/>')
        parts.append(_text(x + 22, 14, line.label, "start"))
    body = "".join(parts)
    return Markup(f'<svg class="chart chart-key" viewBox="0 0 {_WIDTH} 20" aria-hidden="true">{body}</svg>')


def ticks(highest: float) -> list[float]:
    """Return round values from zero to ``highest`` or just above it."""
    step = _step(highest / _TICKS) if highest > 0 else 1.0
    count = max(1, math.ceil(highest / step - 1e-9))
    return [step * at for at in range(count + 1)]


def nice(first: float, last: float) -> list[float]:
    """Return round values between two."""
    step = _step((last - first) / _LABELS_ACROSS) if last > first else 1.0
    start = math.ceil(first / step - 1e-9)
    end = math.floor(last / step + 1e-9)
    return [round(step * at, 10) for at in range(start, end + 1)]


def _step(at_least: float) -> float:
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= at_least * (1 - 1e-9))


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)


def _scale(top: float, form: str = "{:,g}") -> Iterator[str]:
    for value in ticks(top):
        y = _y(value, top)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" class="plot-rule"/>'
        yield _text(_LEFT - 6, y + 4, form.format(value), "end")


def _places(places: Sequence[str], step: float) -> Iterator[str]:
    every = max(1, math.ceil(len(places) / _LABELS_ACROSS))
    for at in range(0, len(places), every):
        yield _text(_LEFT + (at + 0.5) * step, _HEIGHT - 8, places[at], "middle")


def _patterns(name: str, fills: Sequence[tuple[str, str]]) -> Iterator[str]:
    for colour, shape in dict.fromkeys(fills):
        if _SHAPES[shape]:
            identity = f"{escape(name)}-{escape(colour)}-{shape}"
            yield (
                f'<defs><pattern id="{identity}" width="8" height="8" patternUnits="userSpaceOnUse">'
                f'<rect width="8" height="8" class="plot-{escape(colour)}"/>{_SHAPES[shape]}</pattern></defs>'
            )


def _rectangle(name: str, colour: str, shape: str, box: tuple[float, float, float, float], title: str) -> str:
    """Return a rectangle; ``box`` is x, y, width, height."""
    x, y, width, height = box
    fill = f' fill="url(#{escape(name)}-{escape(colour)}-{shape})"' if _SHAPES[shape] else ""
    kind = "plot-filled" if _SHAPES[shape] else f"plot-{escape(colour)}"
    inside = f"<title>{escape(title)}</title>" if title else ""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}"'
    return f'<rect {place} class="{kind}"{fill}>{inside}</rect>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(about: About, height: int, parts: Sequence[str], *, width: int = _WIDTH, kind: str = "chart") -> Markup:
    name, title, description = escape(about.name), escape(about.title), escape(about.description)
    return Markup(
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-desc">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>'
        f"{''.join(parts)}</svg>"
    )
