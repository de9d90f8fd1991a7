"""How benchmarks tell what they measured: JSON lines."""
import json


def json_line(row):
  rounded = lambda x: float(f'{x:.5g}') if isinstance(x, float) else x
  parts = lambda x: {k: rounded(v) for k, v in x.items()} if isinstance(x, dict) else rounded(x)
  print(json.dumps({key: parts(value) for key, value in row.items()}), flush=True)
