"""What common.benchmark times, and what it counts."""
