"""The page's look: Gradio's theme on the system's own fonts, and the style sheet beside this file."""

from pathlib import Path

import gradio as gr

STYLE_SHEET = Path(__file__).parent / "assets" / "page.css"


def build_theme() -> gr.themes.Base:
    """Make the theme; every font is one that the viewer's system has."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=["system-ui", "Segoe UI", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    return theme.set(
        body_background_fill="#f7f9fc",
        body_background_fill_dark="#0a111c",
        block_background_fill="#ffffff",
        block_background_fill_dark="#131c2b",
        block_border_color="#e2e8f0",
        block_border_color_dark="#263244",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_shadow="none",
        input_background_fill="#ffffff",
        input_background_fill_dark="#0c1420",
        input_placeholder_color="#64748b",
        input_placeholder_color_dark="#94a3b8",
        input_border_width="1px",
        input_border_color="#cbd5e1",
        input_border_color_dark="#334155",
        input_shadow="none",
        button_border_width="1px",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="#131c2b",
        button_secondary_border_color="#cbd5e1",
        button_secondary_border_color_dark="#334155",
    )
