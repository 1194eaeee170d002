"""The lab: what measures and shows. The library never imports it; `pip install 'echorl[lab]'` brings what it needs."""
