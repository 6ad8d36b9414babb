#!/bin/bash
# User data of the instance, run by cloud-init as root at its first boot: what to train, and training at every boot.
# The image holds this project in /opt/tts_lab with its environment in /opt/tts_lab/.venv; edit the two addresses.
set -euo pipefail

cat > /etc/tts-lab.env <<'END'
INPUT=s3://BUCKET/input
MIRROR=s3://BUCKET/runs/NAME
END

cp /opt/tts_lab/spot/tts-lab.service /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now --no-block tts-lab.service
