// The first page's demo: the mixer of a song's page, with a song that comes with the website.

import { openMixer } from "./mixer/open.js";

openMixer(document.querySelector("[data-mixer]"));
