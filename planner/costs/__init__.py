"""What a place charges and delivers: prices, energy, speed and quality."""
