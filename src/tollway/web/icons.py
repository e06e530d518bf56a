"""The few icons, drawn on a 20 by 20 grid in the colour of the text beside them. They say nothing that the text does not."""

from markupsafe import Markup

_PATHS = {
    "sun": "M10 6.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6 16 16"
    "M4 16l1.4-1.4M14.6 5.4 16 4",
    "search": "M8.5 3a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11zM12.5 12.5 17 17",
    "arrow": "M4 10h12M11 5l5 5-5 5",
    "play": "M6 4v12l10-6z",
    "stop": "M5 5h10v10H5z",
    "plus": "M10 4v12M4 10h12",
    "key": "M7 10a3.5 3.5 0 1 1 0 .01M10.5 10H18M15 10v3M18 10v2",
}


def icon(name: str) -> Markup:
    """Raises KeyError for one that there is not."""
    return Markup(  # noqa: S704 - our own drawings
        f'<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d="{_PATHS[name]}"/></svg>'
    )
