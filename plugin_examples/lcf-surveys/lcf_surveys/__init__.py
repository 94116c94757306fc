"""Calibration surveys for lcframework, one module each; all ask a TAP service, by :mod:`lcf_surveys.service`."""
