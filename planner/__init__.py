"""The planner: what to run where, for how much money, energy, carbon and waiting, before anything is deployed."""
