#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs in Synapse's image before Synapse: makes the keys and homeserver.yaml if there are none, and foci.yaml each time.
set -eu
python3 /start.py generate
sed "s/@DOMAIN@/${FOCI_DOMAIN:?}/g" /foci/foci.yaml.in >/data/foci.yaml
# The image's own start script leaves the rest of /data to this user.
chown "${UID:-991}:${GID:-991}" /data/foci.yaml
