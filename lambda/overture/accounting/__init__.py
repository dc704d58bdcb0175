"""What a reply, a visit and a day used, in money, energy, carbon and water, with the prices and the grid behind it."""
