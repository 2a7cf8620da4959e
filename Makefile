# `make check` is everything that CI runs, without installing Debian's packages.
.PHONY: check soak demo pins

check:
	python3 run.py test

soak:
	python3 run.py test --soak

demo:
	python3 run.py demo --exit

# Write requirements*.txt anew from pyproject.toml; needs pip-tools.
pins:
	misc/pins.sh
