"""`python -m rtmelody` is the command `rtmelody`."""

from rtmelody.cli.main import main

main()
