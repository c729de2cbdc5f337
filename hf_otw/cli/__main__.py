"""`python -m hf_otw.cli`, for machines whose scripts are not on the path, and for `accelerate launch`."""

from hf_otw.cli.main import main

if __name__ == "__main__":
    main()
