"""The planner: what to run where, for how much money, energy, carbon and waiting, before anything is deployed.

A `scenario` is simulated (`simulation/`), priced (`costs/`) and compared (`analysis/`). `report` and `explain` put the
answers into text; `deployment/` ties a plan to a running stack.
"""
