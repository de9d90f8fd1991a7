"""What is learned and how: world models, behaviours, and the layers they are made of."""
