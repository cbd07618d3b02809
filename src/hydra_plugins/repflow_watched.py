"""Hydra imports every module of the package `hydra_plugins`; this one makes the resolver of conf/ known, to DVC too."""

from repflow.stages.composing.resolver import register

register()
