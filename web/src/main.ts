import { mount } from 'svelte';
import './app.css';
import { app } from './lib/app.svelte';
import { language } from './lib/i18n.svelte';
import App from './App.svelte';

language.start();
app.show_theme();
mount(App, { target: document.getElementById('app')! }); // index.html has it
void app.start();
