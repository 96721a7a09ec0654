"""What tests build with: a world they move, a network without sockets, jobs with good defaults."""
