"""Comparisons of explorers over seeds: grids of runs, their measures, tables and curves."""
