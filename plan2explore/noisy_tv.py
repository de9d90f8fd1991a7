"""The noisy television: python -m plan2explore.noisy_tv; see plan2explore/studies/noisy_tv.py."""
from plan2explore.studies.noisy_tv import main

if __name__ == '__main__':
  main()
