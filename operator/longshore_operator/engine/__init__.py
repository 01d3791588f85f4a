"""The reconciler: observe, plan, execute, through ports."""
