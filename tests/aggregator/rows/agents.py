"""Lists user agents of real requests, by their kind of sender."""

_KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15"

# (user agent, device, os, browser)
PEOPLE = [
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KIT} Chrome/126.0.0.0 Safari/537.36",
        *("desktop", "Windows", "Chrome"),
    ),
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KIT} Chrome/126.0.0.0 Safari/537.36"
        " Edg/126.0.2592.87",
        *("desktop", "Windows", "Edge"),
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"
        " (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        *("desktop", "macOS", "Safari"),
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        *("desktop", "Linux", "Firefox"),
    ),
    (
        f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_KIT} Chrome/126.0.0.0 Safari/537.36",
        *("desktop", "Chrome OS", "Chrome"),
    ),
    (
        f"{_IPHONE} (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        *("mobile", "iOS", "Safari"),
    ),
    (
        f"{_IPHONE} (KHTML, like Gecko) CriOS/126.0.6478.35 Mobile/15E148 Safari/604.1",
        *("mobile", "iOS", "Chrome"),
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15"
        " (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        *("tablet", "iOS", "Safari"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 10; K) {_KIT} Chrome/126.0.0.0 Mobile Safari/537.36",
        *("mobile", "Android", "Chrome"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-X200) {_KIT} Chrome/126.0.0.0 Safari/537.36",
        *("tablet", "Android", "Chrome"),
    ),
    (
        "Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0",
        *("mobile", "Android", "Firefox"),
    ),
    # A phone of the make Cubot, no bot.
    (
        f"Mozilla/5.0 (Linux; Android 9; CUBOT) {_KIT} Chrome/80.0.3987.99 Mobile Safari/537.36",
        *("mobile", "Android", "Chrome"),
    ),
    (
        f"{_IPHONE} (KHTML, like Gecko) Mobile/21F90 Instagram 337.0.3.23.54 (iPhone14,5; en_US)",
        *("mobile", "iOS", "Instagram"),
    ),
    (
        f"{_IPHONE} (KHTML, like Gecko) Mobile/21F90 [FBAN/FBIOS;FBAV/469.0.0.37.104;FBLC/en_US]",
        *("mobile", "iOS", "Facebook"),
    ),
    # The list of crawlers knows Notion's and Viber's link fetchers; these are their windows.
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Notion/3.9.0 Chrome/124.0.6367.243 Electron/30.1.0 Safari/537.36",
        *("desktop", "macOS", "Electron"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; V2109; wv) {_KIT} Version/4.0 Chrome/126.0.0.0"
        " Mobile Safari/537.36 Viber/22.5",
        *("mobile", "Android", "Android WebView"),
    ),
    (
        f"Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) {_KIT} SamsungBrowser/3.0 Chrome/108.0 TV"
        " Safari/537.36",
        *("tv", "Tizen", "Samsung Internet"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS7633; wv) {_KIT} Version/4.0"
        " Chrome/108.0.5359.220 Mobile Safari/537.36",
        *("tv", "Android", "Android WebView"),
    ),
    (
        "Mozilla/5.0 (PlayStation; PlayStation 5/7.20) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " Version/15.4 Safari/605.1.15",
        *("console", "", "Safari"),
    ),
    (
        "Opera/9.80 (Android; Opera Mini/75.0.2254/191.309; U; en) Presto/2.12.423 Version/12.16",
        *("mobile", "Android", "Opera Mini"),
    ),
    # A tap in an app, sent by the system's HTTP client, which names the device.
    (
        "Dalvik/2.1.0 (Linux; U; Android 13; SM-A536B Build/TP1A.220624.014)",
        *("mobile", "Android", "Android"),
    ),
    ("MyShop/5.2 (Android 13; SM-A536B) okhttp/4.9.3", "mobile", "Android", "okhttp"),
    ("MyShop/512 CFNetwork/1494.0.7 Darwin/23.4.0", "mobile", "iOS", "MyShop"),
    ("SAMSUNG-GT-E2232/1.0 Profile/MIDP-2.0 Configuration/CLDC-1.1", "mobile", "", ""),
    ("w3m/0.5.3+git20230121", "other", "", ""),
]

# (user agent, verdict's reason, short name)
BOTS = [
    (
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        *("crawler_list", "Googlebot"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {_KIT} Chrome/125.0.6422.175"
        " Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        *("crawler_list", "Googlebot"),
    ),
    (
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        *("crawler_list", "bingbot"),
    ),
    (
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
        *("crawler_list", "Baiduspider"),
    ),
    (
        "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
        *("crawler_list", "YandexBot"),
    ),
    (
        "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
        *("crawler_list", "AhrefsBot"),
    ),
    ("msnbot/2.0b (+http://search.msn.com/msnbot.htm)", "crawler_list", "msnbot"),
    (
        "Mozilla/5.0 (compatible; archive.org_bot +http://www.archive.org/details/archive.org_bot)",
        *("crawler_list", "archive.org_bot"),
    ),
    (
        "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
        *("crawler_list", "UptimeRobot"),
    ),
    (
        f"Mozilla/5.0 {_KIT}; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        *("crawler_list", "GPTBot"),
    ),
    ("Tiny Tiny RSS/1.11 (http://tt-rss.org/)", "crawler_list", "Tiny Tiny RSS"),
    (
        "Feedly/1.0 (+http://www.feedly.com/fetcher.html; like FeedFetcher-Google)",
        *("crawler_list", "Feedly"),
    ),
    ("UniversalFeedParser/4.2 +http://feedparser.org/", "self_declared", "UniversalFeedParser"),
    ("Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)", "self_declared", "Ezooms"),
    ("Mozilla/5.0 (compatible; BeetleBot; )", "self_declared", "BeetleBot"),
    (
        f"Mozilla/5.0 (X11; Linux x86_64) {_KIT} HeadlessChrome/126.0.0.0 Safari/537.36",
        *("headless_browser", "HeadlessChrome"),
    ),
    ("curl/8.5.0", "http_library", "curl"),
    ("Wget/1.21.4", "http_library", "Wget"),
    ("python-requests/2.32.3", "http_library", "python-requests"),
    ("Go-http-client/2.0", "http_library", "Go-http-client"),
    ("Java/1.8.0_292", "http_library", "Java"),
    ("libwww-perl/6.67", "http_library", "libwww-perl"),
    ("okhttp/4.9.3", "http_library", "okhttp"),
    ("axios/1.7.2", "http_library", "axios"),
    ("portscout/0.8.1", "unknown_program", "portscout"),
    ("Mozilla/5.0", "unknown_program", "Mozilla"),
    ("&as_qdr=all", "unknown_program", "unknown"),
    ("", "empty_user_agent", ""),
    ("-", "empty_user_agent", ""),
    ("  ", "empty_user_agent", ""),
]

# (user agent, short name)
PREVIEWS = [
    (
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "facebookexternalhit",
    ),
    ("Twitterbot/1.0", "Twitterbot"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot"),
    ("WhatsApp/2.23.20.0", "WhatsApp"),
    ("TelegramBot (like TwitterBot)", "TelegramBot"),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Discordbot"),
    (
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "LinkedInBot",
    ),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
        "SkypeUriPreview",
    ),
    # iMessage.
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko)"
        " Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "facebookexternalhit",
    ),
]
