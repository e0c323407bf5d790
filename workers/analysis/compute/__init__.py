"""What computes, in the processes of `workers.analysis.child` alone: nothing else imports pandas and what comes with it."""
