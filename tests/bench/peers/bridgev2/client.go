package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.mau.fi/util/ptr"
	"maunium.net/go/mautrix/bridgev2"
	"maunium.net/go/mautrix/bridgev2/database"
	"maunium.net/go/mautrix/bridgev2/networkid"
	"maunium.net/go/mautrix/bridgev2/simplevent"
	"maunium.net/go/mautrix/bridgev2/status"
	"maunium.net/go/mautrix/event"
)

// How old a callback may be.
const freshness = time.Hour

// How long the framework may take for one message until the callback is refused.
const patience = 30 * time.Second

// Client is the DingTalk app.
type Client struct {
	login  *bridgev2.UserLogin
	config *Config
	token  string
	// Names of people by their staff ids, from their last messages.
	names sync.Map
}

var _ bridgev2.NetworkAPI = (*Client)(nil)

// Callback is what DingTalk says about a message.
type Callback struct {
	ConversationID string `json:"conversationId"`
	MsgID          string `json:"msgId"`
	SenderStaffID  string `json:"senderStaffId"`
	SenderNick     string `json:"senderNick"`
	CreateAt       int64  `json:"createAt"`
	Text           struct {
		Content string `json:"content"`
	} `json:"text"`
}

func newClient(login *bridgev2.UserLogin, config *Config) *Client {
	return &Client{login: login, config: config}
}

// Connect gets a token and listens for callbacks.
func (client *Client) Connect(ctx context.Context) {
	var answer struct {
		AccessToken string `json:"accessToken"`
	}
	login := map[string]string{"appKey": client.config.AppKey, "appSecret": client.config.AppSecret}
	if err := client.call(ctx, "/v1.0/oauth2/accessToken", login, &answer); err != nil {
		client.login.BridgeState.Send(status.BridgeState{StateEvent: status.StateBadCredentials})
		return
	}
	client.token = answer.AccessToken
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bridges/dingtalk/webhook", client.callback)
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", client.config.DingTalkPort), Handler: mux}
	go func() { client.login.Log.Err(server.ListenAndServe()).Msg("No more callbacks are taken") }()
	client.login.BridgeState.Send(status.BridgeState{StateEvent: status.StateConnected})
}

// callback takes a message of a person in DingTalk; it is answered when the framework has handled it.
func (client *Client) callback(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	callback := &Callback{}
	if err != nil || json.Unmarshal(body, callback) != nil {
		writer.WriteHeader(http.StatusBadRequest)
		return
	} else if !client.isSigned(request.Header) {
		writer.WriteHeader(http.StatusForbidden)
		return
	} else if _, known := client.config.Chats[callback.ConversationID]; !known {
		writer.WriteHeader(http.StatusNotFound)
		return
	}
	client.names.Store(callback.SenderStaffID, callback.SenderNick)
	handled := make(chan struct{})
	done := sync.OnceFunc(func() { close(handled) })
	result := client.login.QueueRemoteEvent(&simplevent.Message[*Callback]{
		EventMeta: simplevent.EventMeta{
			Type:           bridgev2.RemoteEventMessage,
			PortalKey:      portalKey(callback.ConversationID),
			Sender:         bridgev2.EventSender{Sender: networkid.UserID(callback.SenderStaffID)},
			Timestamp:      time.UnixMilli(callback.CreateAt),
			PostHandleFunc: func(context.Context, *bridgev2.Portal) { done() },
		},
		ID:                 networkid.MessageID(callback.MsgID),
		Data:               callback,
		ConvertMessageFunc: convert,
	})
	if !result.Success {
		writer.WriteHeader(http.StatusInternalServerError)
		return
	}
	select {
	case <-handled:
	case <-time.After(patience):
		writer.WriteHeader(http.StatusServiceUnavailable)
	}
}

// isSigned tells whether DingTalk is speaking, and lately.
func (client *Client) isSigned(header http.Header) bool {
	timestamp, secret := header.Get("timestamp"), client.config.AppSecret
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "\n" + secret))
	sign := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	at, err := strconv.ParseInt(timestamp, 10, 64)
	isFresh := err == nil && time.Since(time.UnixMilli(at)).Abs() < freshness
	return isFresh && hmac.Equal([]byte(sign), []byte(header.Get("sign")))
}

func convert(
	_ context.Context, _ *bridgev2.Portal, _ bridgev2.MatrixAPI, callback *Callback,
) (*bridgev2.ConvertedMessage, error) {
	content := &event.MessageEventContent{MsgType: event.MsgText, Body: strings.TrimSpace(callback.Text.Content)}
	return &bridgev2.ConvertedMessage{
		Parts: []*bridgev2.ConvertedMessagePart{{Type: event.EventMessage, Content: content}},
	}, nil
}

// HandleMatrixMessage sends what a person wrote in Matrix.
func (client *Client) HandleMatrixMessage(
	ctx context.Context, message *bridgev2.MatrixMessage,
) (*bridgev2.MatrixMessageResponse, error) {
	param, err := json.Marshal(map[string]string{"content": message.Content.Body})
	if err != nil {
		return nil, err
	}
	var answer struct {
		ProcessQueryKey string `json:"processQueryKey"`
	}
	err = client.call(ctx, "/v1.0/robot/groupMessages/send", map[string]string{
		"robotCode":          client.config.AppKey,
		"openConversationId": string(message.Portal.ID),
		"msgKey":             "sampleText",
		"msgParam":           string(param),
	}, &answer)
	if err != nil {
		return nil, err
	}
	return &bridgev2.MatrixMessageResponse{
		DB: &database.Message{ID: networkid.MessageID(answer.ProcessQueryKey), SenderID: networkid.UserID(loginID)},
	}, nil
}

// call asks DingTalk's API.
func (client *Client) call(ctx context.Context, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, client.config.DingTalk+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if client.token != "" {
		request.Header.Set("x-acs-dingtalk-access-token", client.token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("DingTalk answers %s with %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

// GetUserInfo names a person.
func (client *Client) GetUserInfo(_ context.Context, ghost *bridgev2.Ghost) (*bridgev2.UserInfo, error) {
	name, known := client.names.Load(string(ghost.ID))
	if !known {
		return nil, nil
	}
	return &bridgev2.UserInfo{Name: ptr.Ptr(name.(string))}, nil
}

// GetChatInfo knows nothing but the chat's room, which has everybody in it.
func (client *Client) GetChatInfo(context.Context, *bridgev2.Portal) (*bridgev2.ChatInfo, error) {
	return &bridgev2.ChatInfo{}, nil
}

// GetCapabilities says what a room can do.
func (client *Client) GetCapabilities(context.Context, *bridgev2.Portal) *event.RoomFeatures {
	return &event.RoomFeatures{ID: "dingtalk-peer", MaxTextLength: 5000}
}

// IsThisUser is never true: the app writes by its sending calls only.
func (client *Client) IsThisUser(context.Context, networkid.UserID) bool { return false }

// IsLoggedIn is always true: there is one app.
func (client *Client) IsLoggedIn() bool { return true }

// Disconnect does nothing: the process ends with its only client.
func (client *Client) Disconnect() {}

// LogoutRemote does nothing: the app stays.
func (client *Client) LogoutRemote(context.Context) {}
