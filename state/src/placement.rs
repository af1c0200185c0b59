//! Where the replicas of groups go: a pure, stable, idempotent planner.
