"""Finds the packages below each root; everything else stands in setup.cfg."""

from setuptools import find_packages, setup

ROOTS = ("common", "agent", "slurm_adapter", "backend")

setup(packages=[package for root in ROOTS for package in find_packages(root)])
