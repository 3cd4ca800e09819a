"""Everything that touches Ray: the connection, what each trial gets, Ray Tune's loop, jobs, the doctor."""
