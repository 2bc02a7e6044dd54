"""Renders a stack offline: the real program, a recording monitor in place of Pulumi's engine and AWS."""

from scripts.render.render import Render, RenderError, Resource, render

__all__ = ["Render", "RenderError", "Resource", "render"]
