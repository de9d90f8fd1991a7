"""What runs scored and what papers published: reading, aggregating, judging and drawing it."""
