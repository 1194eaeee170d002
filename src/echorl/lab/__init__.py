"""The lab: what measures and shows. The library never imports it; the extra `lab` brings what it needs."""
