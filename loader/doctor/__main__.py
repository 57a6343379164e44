"""`python -m loader.doctor` runs `loader.doctor.command`."""

from shardfeed.shadowing import check_command

if __name__ == "__main__":
    check_command("loader", "manifests")  # `python -m` looks in the current folder first
    from loader.doctor.command import main

    main()
