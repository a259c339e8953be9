"""From evoked responses to the electrodes and back: lead fields, noise and MNE's objects."""
