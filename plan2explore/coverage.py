"""What explorers get to see: python -m plan2explore.coverage; see plan2explore/studies/coverage.py."""
from plan2explore.studies.coverage import main

if __name__ == '__main__':
  main()
