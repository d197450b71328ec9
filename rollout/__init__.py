"""Progressive delivery: a canary moved through steps of weight to promotion or rollback, on
evidence.

The decisions are pure (`sequential`, `gate`, `plan`, `journal`); what touches the world is thin
(`prometheus`, `stack`, `registry`, `store`); `driver` joins them, `__main__` is the command line.
"""
