"""Colours of the pages and figures: role -> colour, in the light and in the dark theme."""

LIGHT = {
    "page": "#f6f7f9",
    "surface": "#ffffff",
    "ink": "#1a2230",
    "muted": "#586474",
    "grid": "#e2e6eb",
    "plain": "#748092",
    "ot": "#0d7a70",
    "ot-soft": "rgba(13,122,112,0.16)",
    "ot-dots": "rgba(13,122,112,0.38)",
    "worse": "#b4480c",
}
DARK = {
    "page": "#10151c",
    "surface": "#182029",
    "ink": "#e7ebf0",
    "muted": "#a3afbd",
    "grid": "#2d3742",
    "plain": "#93a0b0",
    "ot": "#45c8b8",
    "ot-soft": "rgba(69,200,184,0.18)",
    "ot-dots": "rgba(69,200,184,0.42)",
    "worse": "#f2935c",
}
